// What a Node client is told to do: a line of JSON on standard input, as story.py has it.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

export const story = JSON.parse(readFileSync(0, "utf8").split("\n")[0]);

// Packages lie where `make clients` has put them.
export const require = createRequire(`${process.env.ONEFOLD_CLIENTS_DIR}/`);

const RealDate = Date;
if (story.clock_ms) {
  globalThis.Date = class extends RealDate {
    constructor(...given) {
      given.length ? super(...given) : super(RealDate.now() + story.clock_ms);
    }
    static now() {
      return RealDate.now() + story.clock_ms;
    }
  };
}

export function fields({ type, ago_ms, ...call }) {
  return ago_ms === undefined ? call : { ...call, timestamp: new Date(Date.now() - ago_ms) };
}

export function done(errors) {
  process.stdout.write(JSON.stringify({ errors }));
}
