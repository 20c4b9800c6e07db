// node nodemailer_compose.js SECONDS, work as JSON on stdin: prints {"rate": messages per CPU second, "octets": n, "rss": MiB}
'use strict';
const path = require('path');
const home = path.join(process.env.MAILWRIGHT_NODEMAILER, 'node_modules/nodemailer');
const loaded = require(path.join(home, 'dist/cjs/mail-composer/index.js'));
const MailComposer = loaded.default || loaded;

const { size, file, text, html, first } = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const seconds = Number(process.argv[2]);
const content = size ? Buffer.alloc(size, Buffer.from(Array.from({ length: 256 }, (_, i) => i))) : null;

function mail(number) {
    const data = {
        from: { name: 'Jörg Müller', address: 'joerg@example.org' },
        to: [{ name: `Zoë Beispiel ${number}`, address: `zoe${number}@example.net` }],
        subject: `Grüße aus Köln, Nummer ${number}`,
        text
    };
    if (html) data.html = html;
    if (content) data.attachments = [{ filename: 'report.bin', content }];
    if (file) data.attachments = [{ filename: 'report.bin', path: file }];
    return data;
}

function once(number) {
    const node = new MailComposer(mail(number)).compile();
    return new Promise((resolve, reject) => {
        if (!content && !file) return node.build((error, message) => (error ? reject(error) : resolve(message.length)));
        let octets = 0;
        const stream = node.createReadStream();
        stream.on('data', chunk => (octets += chunk.length));
        stream.on('error', reject);
        stream.on('end', () => resolve(octets));
    });
}

const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) / 1e6; };

(async () => {
    for (let number = 0, start = cpu(); !first && (number < (content || file ? 1 : 300) || cpu() - start < seconds / 4); number++) await once(number);
    let count = 0, octets = 0;
    const start = cpu();
    while (first ? count < first : cpu() - start < seconds) octets = await once(count++);
    console.log(JSON.stringify({ rate: count / (cpu() - start), octets, rss: process.resourceUsage().maxRSS / 1024 }));
})();
