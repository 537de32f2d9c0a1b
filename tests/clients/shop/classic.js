// The classic way: a queue that takes calls until analytics.js has come from the collector.
(() => {
  const queue = (window.analytics = []);
  for (const method of ["identify", "track", "page", "screen", "group", "alias", "reset", "ready", "on", "user"])
    queue[method] = (...given) => { queue.push([method, ...given]); return queue; };
  queue._writeKey = config.key;
  queue._cdn = config.url;
  queue._loadOptions = config.options;
  const script = document.createElement("script");
  script.async = true;
  script.src = `${config.url}/analytics.js/v1/${config.key}/analytics.min.js`;
  document.head.append(script);
})();
