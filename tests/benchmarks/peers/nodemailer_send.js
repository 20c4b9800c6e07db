// node nodemailer_send.js, work as JSON on stdin: prints {"rate": messages a second, "cpu": µs a message, "rss": MiB}
'use strict';
const path = require('path');
const nodemailer = require(path.join(process.env.MAILWRIGHT_NODEMAILER, 'node_modules/nodemailer'));
const work = JSON.parse(require('fs').readFileSync(0, 'utf8'));

const transport = nodemailer.createTransport({
    host: '127.0.0.1', port: work.port, secure: false, ignoreTLS: true, pool: true,
    maxConnections: work.sessions, maxMessages: Infinity
});
const envelope = { from: 'me@example.org', to: ['you@example.net'] };
const mail = number => work.distinct
    ? { from: { name: 'Jörg Müller', address: 'me@example.org' }, to: [{ name: `Zoë ${number}`, address: `zoe${number}@example.net` }],
        subject: `Grüße, Nummer ${number}`, text: work.text, html: work.html }
    : { envelope, raw: work.raw };

async function run(count) {
    let next = 0;
    const one = async () => { while (next < count) await transport.sendMail(mail(next++)); };
    await Promise.all(Array.from({ length: work.sessions * 3 }, one));
}

(async () => {
    await run(work.warm || Math.min(work.count, work.sessions * 2));
    const cpu = process.cpuUsage(), start = process.hrtime.bigint();
    await run(work.count);
    const seconds = Number(process.hrtime.bigint() - start) / 1e9, used = process.cpuUsage(cpu);
    transport.close();
    console.log(JSON.stringify({
        rate: work.count / seconds, cpu: (used.user + used.system) / work.count, rss: process.resourceUsage().maxRSS / 1024
    }));
})();
