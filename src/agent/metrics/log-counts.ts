import type { LogFields, Logger } from '../../base/log.ts';
import type { Sample } from '../../base/metrics/text.ts';

/** Counts warnings and errors of a logger and of all that come from it, by level and subsystem. */
export class LogCounts {
  readonly #counts = new Map<string, { level: string; subsystem: string; count: number }>();

  /** A logger that writes as `log` does and is counted. */
  wrap(log: Logger, subsystem = 'fimbria'): Logger {
    const counted =
      (level: 'warn' | 'error') =>
      (msg: string, fields?: LogFields): void => {
        this.#count(level === 'warn' ? 'warning' : 'error', subsystem);
        log[level](msg, fields);
      };
    return {
      debug: (msg, fields) => log.debug(msg, fields),
      info: (msg, fields) => log.info(msg, fields),
      warn: counted('warn'),
      error: counted('error'),
      for: name => this.wrap(log.for(name), name),
    };
  }

  samples(): Sample[] {
    return [...this.#counts.values()].map(({ level, subsystem, count }) => ({
      labels: { level, subsystem },
      value: count,
    }));
  }

  #count(level: string, subsystem: string): void {
    const key = `${level} ${subsystem}`;
    const known = this.#counts.get(key) ?? { level, subsystem, count: 0 };
    known.count++;
    this.#counts.set(key, known);
  }
}
