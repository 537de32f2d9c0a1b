// @rudderstack/rudder-sdk-node plays a story.
import { done, fields, require, story } from "./story.mjs";

const Analytics = require("@rudderstack/rudder-sdk-node");
const errors = [];
const client = new Analytics(story.key, {
  dataPlaneUrl: story.url, flushInterval: 200, flushAt: 5, gzip: story.gzip, logLevel: "none",
  errorHandler: (error) => errors.push(String(error)),
});
await Promise.all(story.calls.map((call) => new Promise((sent) => client[call.type](fields(call), sent))));
await client.flush();
done(errors);
