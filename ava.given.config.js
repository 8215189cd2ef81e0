// `scripts/kind.mjs`: the tests for a cluster that is there already.
import common from './ava.kubernetes.config.js';

export default { ...common, files: ['test/kubernetes/given/**/*.test.ts'] };
