'use strict';
/**
 * As much of a Mesos agent as `agent check` asks: /flags and /version over HTTP on a free port, which is printed. A program of
 * its own, so that it can be put into namespaces. FAKE_AGENT: {"flags", "version", "authorization", "hang", "page"} as JSON.
 */
const http = require('node:http');

const { flags = {}, version = '1.12.0', authorization, hang = false, page } = JSON.parse(process.env.FAKE_AGENT ?? '{}');

const server = http.createServer((request, response) => {
  if (hang) return;
  if (authorization !== undefined && request.headers.authorization !== authorization) return void response.writeHead(401).end();
  const answers = { '/flags': { flags }, '/version': { version, build_date: '2024-08-23' } };
  if (answers[request.url] === undefined) return void response.writeHead(404).end();
  response.writeHead(200, { 'content-type': 'application/json' }).end(page ?? JSON.stringify(answers[request.url]));
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
