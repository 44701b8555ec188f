// Answers `/status/CODE/...` with that code, `/chunked/CODE/...` with a chunked body, and `/drop/...` and `/hold/...` by closing.
// Usage: java Server.java PORT

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

class Server {
    public static void main(String[] arguments) throws IOException {
        System.setProperty("sun.net.httpserver.nodelay", "true");
        // Beyond so many it closes connections that a request may be on the way to.
        System.setProperty("sun.net.httpserver.maxIdleConnections", "1024");
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])), 1024);
        server.createContext("/", Server::answer);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }

    private static void answer(HttpExchange exchange) throws IOException {
        var words = exchange.getRequestURI().getPath().split("/");
        if (words[1].equals("drop") || words[1].equals("hold")) {
            // It cannot see that the client has closed.
            exchange.close();
            return;
        }
        exchange.getRequestBody().readAllBytes();
        var code = Integer.parseInt(words[2]);
        var body = "java\n".getBytes();
        if (code == 204 || code == 304 || exchange.getRequestMethod().equals("HEAD")) {
            exchange.sendResponseHeaders(code, -1);
        } else {
            exchange.sendResponseHeaders(code, words[1].equals("chunked") ? 0 : body.length);
            exchange.getResponseBody().write(body);
        }
        exchange.close();
    }
}
