import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URL;

/** A server that calls itself once a second, as long as it is left alone. It knows nothing of tracing. */
public final class App {
    private App() {}

    public static void main(String[] arguments) throws IOException, InterruptedException {
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8080"));
        InetAddress here = InetAddress.getLoopbackAddress();
        HttpServer server = HttpServer.create(new InetSocketAddress(here, port), 0);
        server.createContext("/hello", exchange -> {
            byte[] body = "hello".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        System.out.println("started with " + System.getProperty("of.the.user"));
        while (true) {
            URL url = new URL("http", here.getHostAddress(), port, "/hello");
            HttpURLConnection connection = (HttpURLConnection) url.openConnection();
            connection.getInputStream().readAllBytes();
            work();
            Thread.sleep(800);
        }
    }

    /** Keeps a core busy for a moment, so that there is something to see. */
    private static void work() {
        long end = System.nanoTime() + 200_000_000L;
        while (System.nanoTime() < end) {
            Math.sqrt(end);
        }
    }
}
