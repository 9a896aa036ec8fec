// Loaded with `node --require` in front of unmodified clients: makes every name under
// .localhost the loopback address, as RFC 6761 section 6.3 asks, which the system's resolver
// may not do. Nothing else is changed.
"use strict";
const dns = require("node:dns");

const lookup = dns.lookup;
dns.lookup = function (hostname, options, callback) {
  if (typeof options === "function") [options, callback] = [{}, options];
  if (!/(^|\.)localhost$/i.test(hostname)) return lookup.call(dns, hostname, options, callback);
  const found = { address: "127.0.0.1", family: 4 };
  process.nextTick(() => (options && options.all ? callback(null, [found]) : callback(null, found.address, found.family)));
};
