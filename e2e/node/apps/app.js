// A server that calls itself once a second, as long as it is left alone. It knows nothing of tracing.
const http = require('http');

const server = http.createServer((request, response) => response.end('hello'));
server.listen(8080, '127.0.0.1', () => {
	console.log('started');
	setInterval(() => http.get('http://127.0.0.1:8080/hello', (answer) => answer.resume()), 1000);
});
