// Threads are off: the addon must also live in plain processes, and tsx's loader does not reach ava's threads on Node 20.
export default {
  extensions: { ts: 'module' },
  nodeArguments: ['--import=tsx'],
  workerThreads: false,
  files: ['test/**/*.test.ts', '!test/kubernetes/**'],
  timeout: '3m',
};
