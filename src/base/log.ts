/** Log levels, most verbose first. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export type LogFields = Record<string, unknown>;

/** A logger writes one logfmt line per call to stderr: `time=… level=… subsys=… msg="…" key=value`. */
export interface Logger {
  debug(msg: string, fields?: LogFields): void;
  info(msg: string, fields?: LogFields): void;
  warn(msg: string, fields?: LogFields): void;
  error(msg: string, fields?: LogFields): void;
  /** A logger that adds `subsys` to every line. */
  for(subsys: string): Logger;
}

function quote(text: string): string {
  return /^[\w.:/@+,-]+$/.test(text) ? text : JSON.stringify(text);
}

function render(value: unknown): string {
  if (value instanceof Error) return quote(value.message);
  if (typeof value === 'object' && value !== null) return quote(JSON.stringify(value));
  return quote(String(value));
}

/**
 * Creates a logger. Writing is synchronous so that the last line before a crash is not lost.
 * @param write where lines go; stderr unless a test wants them
 */
export function createLogger(
  level: LogLevel = 'info',
  write: (line: string) => void = line => process.stderr.write(line),
): Logger {
  const least = LOG_LEVELS.indexOf(level);
  const make = (subsys?: string): Logger => {
    const at =
      (lineLevel: LogLevel) =>
      (msg: string, fields: LogFields = {}): void => {
        if (LOG_LEVELS.indexOf(lineLevel) < least) return;
        const parts = [`time=${new Date().toISOString()}`, `level=${lineLevel}`];
        if (subsys) parts.push(`subsys=${subsys}`);
        parts.push(`msg=${JSON.stringify(msg)}`);
        for (const [key, value] of Object.entries(fields)) {
          if (value !== undefined) parts.push(`${key}=${render(value)}`);
        }
        write(`${parts.join(' ')}\n`);
      };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error'), for: make };
  };
  return make();
}

/** A logger that says nothing. */
export const silent: Logger = createLogger('error', () => {});
