export { ServiceCatalog } from './catalog.ts';
export { ANY_ADDRESS, isHeadless, type ServiceNode, serviceOfSlice, translateService } from './frontends.ts';
