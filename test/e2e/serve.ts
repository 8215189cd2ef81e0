/** Programs for pods and nodes, as arguments of `node`: what a user's image would have. */

/**
 * Answers HTTP and UDP on a port with its name and the address that it sees the client at.
 * @param udpAddress where it takes datagrams: a machine with several addresses else answers from the one that the way
 *   back prefers, not from the one that was asked
 */
export function serve(name: string, port: number, udpAddress = '0.0.0.0'): string[] {
  return [
    process.execPath,
    '-e',
    `require('http').createServer((q, a) => a.end(${JSON.stringify(name)} + ' ' + q.socket.remoteAddress)).listen(${port}, '::');
     const u = require('dgram').createSocket('udp4');
     u.on('message', (m, from) => u.send(${JSON.stringify(name)} + ' ' + from.address, from.port, from.address));
     u.bind(${port}, ${JSON.stringify(udpAddress)});`,
  ];
}

/** Asks an HTTP server so many times, each time anew; prints a line for each answer, or the error's code. */
export function ask(url: string, times = 1): string[] {
  return [
    process.execPath,
    '-e',
    `const get = left => left && require('http').get(${JSON.stringify(url)}, { agent: false, timeout: 5000 }, a => {
       let text = ''; a.on('data', d => (text += d)); a.on('end', () => { console.log(text); get(left - 1); });
     }).on('error', e => { console.log(e.code); get(left - 1); }).on('timeout', function () { this.destroy(); });
     get(${times});`,
  ];
}

/** Sends datagrams one after the other from one socket; prints who answered and from where, or `nothing`. */
export function askUdp(address: string, port: number, times = 1): string[] {
  return [
    process.execPath,
    '-e',
    `const u = require('dgram').createSocket('udp4'); let left = ${times}; let timer;
     const next = () => { if (!left--) return u.close(); u.send('x', ${port}, ${JSON.stringify(address)}, e => e && answered(e.code));
       timer = setTimeout(answered, 3000, 'nothing'); };
     const answered = text => { clearTimeout(timer); console.log(text); next(); };
     u.on('message', (m, from) => answered(m + ' ' + from.address + ':' + from.port)); next();`,
  ];
}
