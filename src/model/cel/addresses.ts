import {
  formatIpv4,
  formatIpv6,
  isIpv4,
  isIpv6,
  parseIpv4,
  parseIpv4Cidr,
  parseIpv6,
  parseIpv6Cidr,
} from '../../base/addr.ts';

/** The address and range types of Kubernetes' CEL library. Immutable; two of the same `text` are equal. */

export class IpAddress {
  readonly family: 4 | 6;
  /** In canonical form. */
  readonly text: string;

  private constructor(family: 4 | 6, text: string) {
    this.family = family;
    this.text = text;
  }

  /** @throws FimbriaError INVALID_ADDRESS */
  static parse(text: string): IpAddress {
    return isIpv4(text) ? new IpAddress(4, text) : new IpAddress(6, formatIpv6(parseIpv6(text)));
  }
}

export class Cidr {
  readonly family: 4 | 6;
  readonly prefixLength: number;
  /** In canonical form, host bits as they are. */
  readonly text: string;
  readonly #address: bigint;
  readonly #network: bigint;

  private constructor(family: 4 | 6, address: bigint, network: bigint, prefixLength: number) {
    this.family = family;
    this.prefixLength = prefixLength;
    this.#address = address;
    this.#network = network;
    this.text = `${this.#format(address)}/${prefixLength}`;
  }

  /** @throws FimbriaError INVALID_ADDRESS */
  static parse(text: string): Cidr {
    const address = text.split('/')[0]!;
    if (isIpv4(address)) {
      const { network, prefixLength } = parseIpv4Cidr(text, { hostBits: 'clear' });
      return new Cidr(4, BigInt(parseIpv4(address)), BigInt(network), prefixLength);
    }
    const { network, prefixLength } = parseIpv6Cidr(text, { hostBits: 'clear' });
    return new Cidr(6, parseIpv6(address), network, prefixLength);
  }

  ip(): IpAddress {
    return IpAddress.parse(this.#format(this.#address));
  }

  /** Without host bits. */
  masked(): Cidr {
    return new Cidr(this.family, this.#network, this.#network, this.prefixLength);
  }

  /** Whether all addresses of `other` are in this range. */
  contains(other: Cidr): boolean {
    if (this.family !== other.family || this.prefixLength > other.prefixLength) return false;
    const hostBits = BigInt((this.family === 4 ? 32 : 128) - this.prefixLength);
    return this.#network >> hostBits === other.#network >> hostBits;
  }

  #format(address: bigint): string {
    return this.family === 4 ? formatIpv4(Number(address)) : formatIpv6(address);
  }
}

export function isIp(text: string): boolean {
  return isIpv4(text) || isIpv6(text);
}

export function isCidr(text: string): boolean {
  try {
    Cidr.parse(text);
    return true;
  } catch {
    return false;
  }
}
