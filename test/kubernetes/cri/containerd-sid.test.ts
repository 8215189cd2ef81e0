import { criScenarios } from './scenarios.ts';

/** A current containerd (2.x): CNI up to 1.1.0, and it calls STATUS. */
criScenarios('sid', ['0.3.1', '0.4.0', '1.0.0', '1.1.0']);
