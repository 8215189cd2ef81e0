import { readFileSync } from 'node:fs';
import type { ClusterConfig } from './types.ts';

/** How long what was read from a file is taken for what is in it. Kubelet replaces files minutes before they expire. */
const FILE_TTL_MS = 10_000;

/** What TLS needs of us and of the server; PEM. */
export interface TlsIdentity {
  ca?: string;
  cert?: string;
  key?: string;
}

/**
 * Who asks, by the configuration and by the files that it names. Those are read again while we run, since a cluster
 * replaces tokens, certificates and authorities. A file that cannot be read for a moment leaves what was read before.
 */
export class Credentials {
  readonly #config: ClusterConfig;
  readonly #files = new Map<string, { text: string; readAtMs: number }>();

  constructor(config: ClusterConfig) {
    this.#config = config;
  }

  /** @throws the file system's error when a token file was never readable */
  bearer(): string | undefined {
    const { tokenFile, token } = this.#config;
    return tokenFile === undefined ? token : this.#read(tokenFile).trim();
  }

  /** @throws the file system's error when a file was never readable */
  tls(): TlsIdentity {
    const { ca, caFile, clientCertificate, clientCertificateFile, clientKey, clientKeyFile } = this.#config;
    const identity = {
      ca: caFile === undefined ? ca : this.#read(caFile),
      cert: clientCertificateFile === undefined ? clientCertificate : this.#read(clientCertificateFile),
      key: clientKeyFile === undefined ? clientKey : this.#read(clientKeyFile),
    };
    return Object.fromEntries(Object.entries(identity).filter(([, pem]) => pem !== undefined));
  }

  /** Reads all files anew, for a server that does not know us. True when something has changed. */
  reload(): boolean {
    const before = [...this.#files].map(([path, { text }]) => [path, text] as const);
    for (const file of this.#files.values()) file.readAtMs = Number.NEGATIVE_INFINITY;
    return before.some(([path, text]) => this.#read(path) !== text);
  }

  /** A text without the token. */
  redact(text: string): string {
    const { token, tokenFile } = this.#config;
    const known = tokenFile === undefined ? token : this.#files.get(tokenFile)?.text.trim();
    return known ? text.replaceAll(known, 'TOKEN') : text;
  }

  #read(path: string): string {
    const known = this.#files.get(path);
    if (known && performance.now() - known.readAtMs < FILE_TTL_MS) return known.text;
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      if (known === undefined) throw error;
      ({ text } = known);
    }
    this.#files.set(path, { text, readAtMs: performance.now() });
    return text;
  }
}
