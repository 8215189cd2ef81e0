import { native } from './addon.ts';

/**
 * How a daemon tells its service manager how it is (sd_notify of systemd). Every method does nothing when nobody
 * asked (`$NOTIFY_SOCKET` is not set), and never throws: a service manager that does not listen is no reason to fail.
 */
export class ServiceNotifier {
  readonly #socket: string | undefined;
  readonly #watchdogMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param pid ours: systemd may have meant a watchdog for another process (`$WATCHDOG_PID`) */
  constructor(env: NodeJS.ProcessEnv, pid: number = process.pid) {
    this.#socket = env['NOTIFY_SOCKET'] || undefined;
    const micros = Number(env['WATCHDOG_USEC'] ?? 0);
    const forUs = env['WATCHDOG_PID'] === undefined || Number(env['WATCHDOG_PID']) === pid;
    this.#watchdogMs = micros > 0 && forUs ? micros / 1000 : undefined;
  }

  /** Work can begin. From now on the watchdog is fed by the event loop: when that stands still, we are restarted. */
  ready(): void {
    this.#send('READY=1');
    if (this.#watchdogMs === undefined || this.#timer) return;
    const feed = (): void => this.#send('WATCHDOG=1');
    feed();
    this.#timer = setInterval(feed, this.#watchdogMs / 2);
    this.#timer.unref();
  }

  /** One line for people: what is waited for, or how it goes. */
  status(text: string): void {
    this.#send(`STATUS=${text.replaceAll('\n', ' ')}`);
  }

  /** An orderly stop has begun; the watchdog is fed until the process ends. */
  stopping(): void {
    this.#send('STOPPING=1');
  }

  #send(text: string): void {
    if (this.#socket === undefined) return;
    try {
      native().unixDatagramSend(this.#socket, Buffer.from(text));
    } catch {
      // Nobody can be told that nobody can be told.
    }
  }
}
