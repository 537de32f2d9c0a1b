// A shop that has RudderStack's SDK. Its calls take a callback where those of analytics.js return a promise, and it has no screens.
import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

const rudder = new RudderAnalytics();
rudder.load(config.key, config.url, { configUrl: config.url, ...config.options });
const call = (method) => (...given) => new Promise((accepted) => rudder[method](...given, accepted));
window.analytics = {
  page: call("page"), track: call("track"), identify: call("identify"), group: call("group"), alias: call("alias"),
  screen: async () => {}, ready: (act) => rudder.ready(act), reset: () => rudder.reset(true),
  anonymousId: () => rudder.getAnonymousId(), userId: () => rudder.getUserId(),
};
