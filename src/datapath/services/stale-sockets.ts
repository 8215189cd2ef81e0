import type { SocketBackend, SocketFrontend } from '../../maps/services.ts';
import type { LbFrontend } from './types.ts';

const UDP = 17;
/** Stands for the addresses of all nodes. */
const ANY_ADDRESS = '0.0.0.0';

/** A socket's translation, as its map has it. */
export type SocketTranslation = readonly [SocketBackend, SocketFrontend];

/** A UDP frontend with the number that translations refer to. */
export interface NumberedFrontend {
  id: number;
  frontend: LbFrontend;
}

/**
 * Translations to a backend that the frontend has no more, not even one that is going: a datagram socket that is
 * connected by one of them waits for ever, since nothing tells it. Pure.
 */
export function staleTranslations(
  translations: Iterable<SocketTranslation>,
  frontends: Iterable<NumberedFrontend>,
): SocketTranslation[] {
  const serving = new Map<number, { address: string; port: number; backends: Set<string> }>();
  for (const { id, frontend } of frontends) {
    if (frontend.l4Proto !== UDP) continue;
    const { address, port, external, internal, terminating } = frontend;
    const all = [...external.backends, ...(internal?.backends ?? []), ...terminating];
    serving.set(id, { address, port, backends: new Set(all.map(b => `${b.address}:${b.port}`)) });
  }
  return [...translations].filter(([backend, asked]) => {
    // Numbers are given again when a frontend is gone: it must be what the socket asked for.
    const now = serving.get(asked.revNatIndex);
    const isSame = now?.port === asked.port && (now.address === asked.address || now.address === ANY_ADDRESS);
    return !isSame || !now.backends.has(`${backend.address}:${backend.port}`);
  });
}
