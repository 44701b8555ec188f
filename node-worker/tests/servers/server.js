// Answers `/status/CODE/...` with that code, `/chunked/CODE/...` with a chunked body, `/late/MILLISECONDS/...` after so long, `/drop/...`
// by closing, and `/hold/...` not before the client has closed. Usage: server.js PORT
const http = require('node:http');

http.createServer((request, response) => {
  request.resume().on('end', () => {
    const [, kind, code] = request.url.split('/');
    if (kind === 'hold') {
      return; // Node closes by itself when the client has.
    }
    if (kind === 'drop') {
      request.socket.destroy();
      return;
    }
    if (kind === 'late') {
      setTimeout(() => response.end('node\n'), Number(code));
      return;
    }
    const status = Number(code);
    const body = status === 204 || status === 304 ? '' : 'node\n';
    response.writeHead(status, body === '' || kind === 'chunked' ? {} : { 'Content-Length': body.length });
    response.end(body);
  });
}).listen(Number(process.argv[2]), '127.0.0.1', 1024);
