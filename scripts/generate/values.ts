/** docs/values.md from the schema of the values: what `src/config` reads is what the reference says. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { settingsMarkdown } from '../../src/config/docs.ts';

const path = new URL('../../docs/values.md', import.meta.url);
const text = settingsMarkdown();
if (!process.argv.includes('--check')) writeFileSync(path, text);
else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
  process.stderr.write(
    'check docs/values.md: differs from src/config; run npm run generate and commit the result\n',
  );
  process.exitCode = 1;
}
