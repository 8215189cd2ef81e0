import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseIpv4 } from '../base/addr.ts';
import {
  bitString,
  boolean,
  integer,
  octetString,
  oid,
  sequence,
  set,
  tagged,
  utcTime,
  utf8,
} from './der.ts';

/** A certificate with its key, both PEM. */
export interface Credentials {
  certificate: string;
  key: string;
}

const CA_YEARS = 10;
const SERVER_YEARS = 1;
const CLOCK_SKEW_MS = 3_600_000;
const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

/**
 * The authority whose word clients take, from a file; made there when it is missing or about to expire.
 * Certificate and key share one file, for one without the other is of no use. Only root may read it.
 */
export function loadAuthority(path: string): Credentials {
  const known = existsSync(path) ? split(readFileSync(path, 'utf8')) : undefined;
  if (known) {
    const leftMs = Date.parse(new X509Certificate(known.certificate).validTo) - Date.now();
    if (leftMs > yearsMs(SERVER_YEARS)) return known;
  }
  const authority = createAuthority('fimbria-ca');
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(`${path}.new`, authority.certificate + authority.key, { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return authority;
}

/** Makes a new authority. */
export function createAuthority(name: string): Credentials {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const id = keyId(keys.publicKey);
  const extensions = [
    extension('2.5.29.19', true, sequence(boolean(true))),
    // keyCertSign and cRLSign
    extension('2.5.29.15', true, bitString(Uint8Array.of(0b0000_0110), 1)),
    extension('2.5.29.14', false, octetString(id)),
  ];
  return issue({ name, issuer: name, years: CA_YEARS, keys, signingKey: keys.privateKey, extensions });
}

/** Makes a server's certificate for names and IPv4 addresses, with a key of its own. */
export function createServerCertificate(authority: Credentials, hosts: string[]): Credentials {
  const signingKey = createPrivateKey(authority.key);
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const names = hosts.map(host =>
    /^[\d.]+$/.test(host) ? tagged(7, false, ipv4(host)) : tagged(2, false, Buffer.from(host)),
  );
  const extensions = [
    extension('2.5.29.19', true, sequence()),
    // digitalSignature
    extension('2.5.29.15', true, bitString(Uint8Array.of(0b1000_0000), 7)),
    // serverAuth
    extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))),
    extension('2.5.29.35', false, sequence(tagged(0, false, keyId(createPublicKey(signingKey))))),
    extension('2.5.29.17', false, sequence(...names)),
  ];
  const issuer = commonName(authority.certificate);
  return issue({ name: 'fimbria-apiserver', issuer, years: SERVER_YEARS, keys, signingKey, extensions });
}

interface Order {
  name: string;
  issuer: string;
  years: number;
  keys: { publicKey: KeyObject; privateKey: KeyObject };
  signingKey: KeyObject;
  extensions: Buffer[];
}

function issue({ name, issuer, years, keys, signingKey, extensions }: Order): Credentials {
  const from = Date.now() - CLOCK_SKEW_MS;
  const body = sequence(
    tagged(0, true, integer(Uint8Array.of(2))),
    integer(randomBytes(16)),
    ECDSA_WITH_SHA256,
    distinguished(issuer),
    sequence(utcTime(new Date(from)), utcTime(new Date(from + yearsMs(years)))),
    distinguished(name),
    keys.publicKey.export({ type: 'spki', format: 'der' }),
    tagged(3, true, sequence(...extensions)),
  );
  const signature = sign('sha256', body, { key: signingKey, dsaEncoding: 'der' });
  return {
    certificate: pem('CERTIFICATE', sequence(body, ECDSA_WITH_SHA256, bitString(signature))),
    key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

function distinguished(name: string): Buffer {
  return sequence(set(sequence(oid('2.5.4.3'), utf8(name))));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return critical
    ? sequence(oid(id), boolean(true), octetString(value))
    : sequence(oid(id), octetString(value));
}

function keyId(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

function commonName(certificate: string): string {
  return new X509Certificate(certificate).subject.replace(/^CN=/, '');
}

function ipv4(text: string): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(parseIpv4(text));
  return bytes;
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g)!;
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

function yearsMs(years: number): number {
  return years * 365 * 86_400_000;
}

function split(text: string): Credentials | undefined {
  const [certificate, key] = text.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n/g) ?? [];
  return certificate !== undefined && key !== undefined ? { certificate, key } : undefined;
}
