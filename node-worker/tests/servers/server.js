// Answers `/status/CODE/...` with that code. Usage: server.js PORT
const http = require('node:http');

http.createServer((request, response) => {
  request.resume().on('end', () => {
    const body = 'node\n';
    response.writeHead(Number(request.url.split('/')[2]), { 'Content-Length': body.length });
    response.end(body);
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
