// Makes a script of the shop's own: node bundle.mjs TARGET SOURCE.
import { createRequire } from "node:module";

const packages = process.env.ONEFOLD_CLIENTS_DIR;
const { buildSync } = createRequire(`${packages}/`)("esbuild");
buildSync({
  entryPoints: [new URL(`shop/${process.argv[3]}`, import.meta.url).pathname],
  bundle: true, platform: "browser", outfile: process.argv[2], nodePaths: [`${packages}/node_modules`], logLevel: "error",
});
