<?php
// php phpmailer_compose.php SECONDS, work as JSON on stdin: prints {"rate": messages per CPU second, "octets": n, "rss": MiB}
ini_set('memory_limit', '-1');
$home = getenv('MAILWRIGHT_PHPMAILER');
require "$home/src/Exception.php";
require "$home/src/PHPMailer.php";

$work = json_decode(stream_get_contents(STDIN), true);
$seconds = (float) $argv[1];
$content = $work['size'] ? str_repeat(implode('', array_map('chr', range(0, 255))), intdiv($work['size'], 256)) : null;

function once(int $number): int
{
    global $work, $content;
    $mail = new PHPMailer\PHPMailer\PHPMailer(true);
    $mail->CharSet = 'utf-8';
    // its default, 8bit, is for servers that take it; where the text needs it, ask for 7-bit safe octets as everyone here writes
    $mail->Encoding = preg_match('/[\x80-\xff]/', $work['text'] . $work['html']) ? 'quoted-printable' : '8bit';
    $mail->setFrom('joerg@example.org', 'Jörg Müller');
    $mail->addAddress("zoe$number@example.net", "Zoë Beispiel $number");
    $mail->Subject = "Grüße aus Köln, Nummer $number";
    if ($work['html'] !== null) {
        $mail->isHTML();
        $mail->Body = $work['html'];
        $mail->AltBody = $work['text'];
    } else {
        $mail->Body = $work['text'];
    }
    if ($content !== null) {
        $mail->addStringAttachment($content, 'report.bin');
    }
    $mail->preSend();
    return strlen($mail->getSentMIMEMessage());
}

function cpu(): float
{
    $used = getrusage();
    return $used['ru_utime.tv_sec'] + $used['ru_stime.tv_sec'] + ($used['ru_utime.tv_usec'] + $used['ru_stime.tv_usec']) / 1e6;
}

$first = $work['first'];
for ($number = 0, $start = cpu(); !$first && ($number < ($content === null ? 300 : 2) || cpu() - $start < $seconds / 4); $number++) {
    once($number);
}
$count = $octets = 0;
$start = cpu();
while ($first ? $count < $first : cpu() - $start < $seconds) {
    $octets = once($count++);
}
echo json_encode(['rate' => $count / (cpu() - $start), 'octets' => $octets, 'rss' => getrusage()['ru_maxrss'] / 1024]);
