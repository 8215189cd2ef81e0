import { criScenarios } from './scenarios.ts';

/** containerd 1.6 of Debian 12: CNI up to 1.0.0, no STATUS. */
criScenarios('bookworm', ['0.3.1', '0.4.0', '1.0.0']);
