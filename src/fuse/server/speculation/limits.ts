/** How much may be fetched before anybody asks for it. */
import type { RepositoryConfig } from '../../../config/repository-config';

export interface SpeculationLimits {
  /** Objects under way at a time. 20 ms away, 5,000 small objects a second are 100 under way. */
  readonly inFlightMax: number;
  /** Their plain bytes. */
  readonly inFlightBytesMax: number;
  /** Objects that one stream of reads may be ahead of its reader, and their plain bytes. */
  readonly aheadMax: number;
  readonly aheadBytesMax: number;
}

/** A reader that reads much at once must not meet the end of what is there already. */
const AHEAD_PER_IN_FLIGHT = 3;

export function speculationLimits(config: Pick<RepositoryConfig, 'speculationMaxObjects' | 'speculationMaxBytes'>): SpeculationLimits {
  const { speculationMaxObjects: objects, speculationMaxBytes: bytes } = config;
  return { inFlightMax: objects, inFlightBytesMax: bytes, aheadMax: objects * AHEAD_PER_IN_FLIGHT, aheadBytesMax: bytes };
}
