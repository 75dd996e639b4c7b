'use strict';
/** Debian's changelog: whose newest entry says the version, and the time that stands in all files of the package. */

/** `{version, seconds}` of the first entry; fails when it has no such form. */
function newestEntry(text) {
  const version = /^mesos-cvmfs \(([^)]+)\) /.exec(text)?.[1];
  const date = /^ -- .* <.*> {2}(.*)$/m.exec(text)?.[1];
  const seconds = Date.parse(date) / 1000;
  if (version === undefined || Number.isNaN(seconds)) throw new Error('packaging/debian/changelog does not begin with an entry');
  return { version, seconds };
}

module.exports = { newestEntry };
