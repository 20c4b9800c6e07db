// java -cp … JavaMailCompose.java SECONDS, work as "key\tvalue" lines on stdin, text escaped as in JSON: prints JSON
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Date;
import java.util.Properties;
import javax.activation.DataHandler;
import javax.mail.Message;
import javax.mail.Session;
import javax.mail.internet.InternetAddress;
import javax.mail.internet.MimeBodyPart;
import javax.mail.internet.MimeMessage;
import javax.mail.internet.MimeMultipart;
import javax.mail.util.ByteArrayDataSource;

public class JavaMailCompose {
    static final Session SESSION = Session.getInstance(new Properties());
    static String text, html, file;
    static int first;
    static byte[] content;

    static final class Count extends OutputStream {
        long octets;
        @Override public void write(int one) { octets++; }
        @Override public void write(byte[] data, int from, int length) { octets += length; }
    }

    static long once(int number) throws Exception {
        MimeMessage message = new MimeMessage(SESSION);
        message.setFrom(new InternetAddress("joerg@example.org", "Jörg Müller", "utf-8"));
        message.setRecipient(Message.RecipientType.TO,
            new InternetAddress("zoe" + number + "@example.net", "Zoë Beispiel " + number, "utf-8"));
        message.setSubject("Grüße aus Köln, Nummer " + number, "utf-8");
        message.setSentDate(new Date());
        if (html == null) {
            message.setText(text, "utf-8");
        } else {
            MimeBodyPart plain = new MimeBodyPart(), rich = new MimeBodyPart();
            plain.setText(text, "utf-8");
            rich.setText(html, "utf-8", "html");
            MimeMultipart alternative = new MimeMultipart("alternative", plain, rich);
            if (content == null && file == null) {
                message.setContent(alternative);
            } else {
                MimeBodyPart body = new MimeBodyPart(), attached = new MimeBodyPart();
                body.setContent(alternative);
                if (file != null) {
                    attached.attachFile(file);
                } else {
                    attached.setDataHandler(new DataHandler(new ByteArrayDataSource(content, "application/octet-stream")));
                    attached.setHeader("Content-Transfer-Encoding", "base64");
                }
                attached.setFileName("report.bin");
                message.setContent(new MimeMultipart("mixed", body, attached));
            }
        }
        message.saveChanges();
        Count sink = new Count();
        message.writeTo(sink);
        return sink.octets;
    }

    static double cpu() {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime() / 1e9;
    }

    static double peakMiB() throws Exception {
        return Files.readAllLines(Path.of("/proc/self/status")).stream().filter(line -> line.startsWith("VmHWM"))
            .mapToDouble(line -> Double.parseDouble(line.replaceAll("[^0-9]", "")) / 1024).findFirst().orElse(0);
    }

    public static void main(String[] given) throws Exception {
        double seconds = Double.parseDouble(given[0]);
        for (String line : new String(System.in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
            String value = line.substring(line.indexOf('\t') + 1).replace("\\n", "\n");
            switch (line.substring(0, line.indexOf('\t'))) {
                case "text" -> text = value;
                case "html" -> html = value;
                case "file" -> file = value;
                case "size" -> content = new byte[Integer.parseInt(value)];
                case "first" -> first = Integer.parseInt(value);
                default -> { }
            }
        }
        for (int index = 0; content != null && index < content.length; index++) content[index] = (byte) index;
        boolean cold = first > 0, large = content != null || file != null;
        double start = cpu();
        for (int number = 0; !cold && (number < (large ? 2 : 3000) || cpu() - start < seconds); number++) once(number);
        int count = 0;
        long octets = 0;
        start = cpu();
        while (cold ? count < first : cpu() - start < seconds) octets = once(count++);
        System.out.printf(java.util.Locale.ROOT, "{\"rate\": %f, \"octets\": %d, \"rss\": %f}%n",
            count / (cpu() - start), octets, peakMiB());
    }
}
