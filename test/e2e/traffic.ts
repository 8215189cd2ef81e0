import { collect, printed, type TestLab } from './lab.ts';

/**
 * Pings of a hundred a second from a pod to each of the addresses, answered ones by now.
 * @returns what ends them and resolves with what each of them printed
 */
export async function pingAll(
  lab: TestLab,
  pod: string,
  addresses: readonly string[],
): Promise<() => Promise<string[]>> {
  const pings = addresses.map(to =>
    lab.spawn(['lab', 'exec', pod, '--', 'ping', '-i', '0.01', '-W', '2', '-O', to]),
  );
  const said = pings.map(collect);
  await Promise.all(pings.map(ping => printed(ping, /icmp_seq=20 /)));
  return async () => {
    for (const ping of pings) ping.kill('SIGINT');
    return (await Promise.all(said)).map(outcome => outcome.stdout);
  };
}

/** Packets sent and not answered. The last may be on its way when the ping ends. */
export function lostOf(ping: string): number {
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(ping)!;
  return ping.includes('no answer yet')
    ? Number(sent) - Number(received)
    : Math.max(0, Number(sent) - Number(received) - 1);
}
