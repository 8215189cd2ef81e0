// `npm run test:kubernetes`: what needs programs out of Debian's packages that no node of ours needs.
import common from './ava.config.js';

export default { ...common, files: ['test/kubernetes/**/*.test.ts', '!test/kubernetes/given/**'], timeout: '10m', concurrency: 1 };
