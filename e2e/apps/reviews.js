// reviews is the shop's Node service. It knows nothing of Shoalwatch.
const http = require('node:http')

const status = { '/missing': 404, '/fail': 503 }

// Answers what all of the shop's services answer, so that one load fits them all.
const server = http.createServer((request, answer) => {
  answer.statusCode = status[request.url.split('?')[0]] ?? 200
  answer.setHeader('Content-Length', 8)
  answer.end('reviews\n')
})
server.keepAliveTimeout = 60_000
server.listen(Number(process.env.PORT ?? 8080))
process.on('SIGTERM', () => { server.close(); server.closeIdleConnections() })
