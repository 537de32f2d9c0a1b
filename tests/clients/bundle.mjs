// Makes the shop's own script: node bundle.mjs TARGET.
import { createRequire } from "node:module";

const packages = process.env.ONEFOLD_CLIENTS_DIR;
const { buildSync } = createRequire(`${packages}/`)("esbuild");
buildSync({
  entryPoints: [new URL("shop/bundle.mjs", import.meta.url).pathname],
  bundle: true, platform: "browser", outfile: process.argv[2], nodePaths: [`${packages}/node_modules`], logLevel: "error",
});
