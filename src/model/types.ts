/** All types of the cluster's objects in one place. Types only: importing this costs nothing at run time. */
export type * from './cilium.ts';
export type * from './core.ts';
export type * from './meta.ts';
