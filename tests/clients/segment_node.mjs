// @segment/analytics-node plays a story.
import { done, fields, require, story } from "./story.mjs";

const { Analytics } = require("@segment/analytics-node");
const errors = [];
const client = new Analytics({ writeKey: story.key, host: story.url, flushInterval: 200, flushAt: 5 });
client.on("error", (error) => errors.push(String(error.reason ?? error.code)));
for (const call of story.calls) client[call.type](fields(call));
await client.closeAndFlush({ timeout: 60_000 });
done(errors);
