import { codeOf, FimbriaError, messageOf } from '../base/errors.ts';
import { createLogger } from '../base/log.ts';
import { ServiceNotifier } from '../kernel/notify.ts';
import { Agent } from './agent.ts';
import { agentUsage, parseAgentOptions } from './options.ts';

/** How long an orderly stop may take before the process ends anyway. */
const STOP_TIMEOUT_MS = 5_000;

async function main(): Promise<void> {
  const options = parseAgentOptions(process.argv.slice(2), process.env);
  if (!options) {
    process.stdout.write(agentUsage());
    return;
  }
  const log = createLogger(options.logLevel);
  const notifier = new ServiceNotifier(process.env);
  const agent = new Agent(log.for('agent'), notifier);
  const abort = new AbortController();
  const stop = (signal: string): void => {
    if (abort.signal.aborted) return;
    abort.abort();
    log.info('stopping; pods keep talking', { signal });
    notifier.stopping();
    setTimeout(() => {
      log.error('not stopped in time; what was under way is put right by the next start', {
        seconds: STOP_TIMEOUT_MS / 1000,
      });
      process.exit(1);
    }, STOP_TIMEOUT_MS).unref();
    agent.stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  try {
    await agent.start(options, abort.signal);
  } catch (error) {
    if (abort.signal.aborted) return;
    await agent.stop();
    throw error;
  }
}

main().catch(error => {
  const log = error instanceof FimbriaError && error.log ? `\n${error.log}` : '';
  process.stderr.write(`fimbria-agent: ${messageOf(error)}${log}\n`);
  process.exit(codeOf(error) === 'USAGE' ? 2 : 1);
});
