/** Why one entry cannot be said in another layout. */
export class Inexpressible extends Error {}
