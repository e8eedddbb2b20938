// A server that calls itself once a second, as long as it is left alone. It knows nothing of tracing.
const http = require('http');

const port = process.env.PORT || 8080;
const server = http.createServer((request, response) => response.end('hello'));
server.listen(port, '127.0.0.1', () => {
	console.log(`started with ${process.env.NODE_OPTIONS}`);
	setInterval(() => http.get(`http://127.0.0.1:${port}/hello`, (answer) => answer.resume()), 1000);
});
