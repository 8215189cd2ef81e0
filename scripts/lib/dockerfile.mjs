/** The text of deploy/Dockerfile, from the same list that `scripts/image.mjs` packs. */
import { CONFIG, FILES, IMAGE_ROOT, LIBRARY_PACKAGES, LINKS, PROGRAMS } from './image-files.mjs';

/** For people with an engine: `docker build -f deploy/Dockerfile -t fimbria:VERSION .` in a checkout that is built. */
export function dockerfile() {
  const packages = new Set([...LIBRARY_PACKAGES, ...PROGRAMS.flatMap(one => one.package ?? [])]);
  const links = Object.entries(LINKS).map(([link, target]) => `ln -sf ${target} ${link}`);
  const env = CONFIG.Env.map(entry => `ENV ${entry}`);
  return [
    '# Generated from scripts/lib/image-files.mjs: npm run generate. Build in a checkout after npm run build:',
    '#   docker build -f deploy/Dockerfile -t fimbria:VERSION .',
    'FROM node:20-bookworm-slim',
    `RUN apt-get update && apt-get install -y --no-install-recommends ${[...packages].sort().join(' ')} \\`,
    '    && rm -rf /var/lib/apt/lists/*',
    ...FILES.map(file => `COPY ${file} ${IMAGE_ROOT}/${file}`),
    `RUN ${links.join(' \\\n    && ')}`,
    ...env,
    `WORKDIR ${CONFIG.WorkingDir}`,
    `CMD ${JSON.stringify(CONFIG.Cmd)}`,
    '',
  ].join('\n');
}
