// The way of a shop that builds its own scripts.
import { AnalyticsBrowser } from "@segment/analytics-next";

window.analytics = AnalyticsBrowser.load({ writeKey: config.key, cdnURL: config.url }, config.options);
