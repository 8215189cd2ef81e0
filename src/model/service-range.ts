import { formatIpv4, parseIpv4Cidr } from '../base/addr.ts';

/** Where ClusterIPs come from when nobody names a range: Kubernetes' own default. */
export const SERVICE_CLUSTER_IPS = '10.96.0.0/12';

/** The first address of a range of ClusterIPs, which is the API server's in every cluster. @throws FimbriaError INVALID */
export function apiServerClusterIp(range: string): string {
  return formatIpv4(parseIpv4Cidr(range).network + 1);
}
