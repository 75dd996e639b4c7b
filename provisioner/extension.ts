/** Services of rooms above this one that `serve` offers beside its own, over the same world. */
import type { World } from './context';
import type { CallOptions } from './grpc/call';
import type { Contracts, ServiceName } from './grpc/protos';
import type { BoundService } from './grpc/unary';

/** What an extension is made with, before anything listens. */
export interface ExtensionParts {
  readonly world: World;
  readonly contracts: Contracts;
  readonly calls: CallOptions;
  /** Holds are owed: tells the file system servers, in the background. */
  readonly payReleases: () => void;
}

export interface Extension {
  readonly name: ServiceName;
  readonly service: BoundService;
  /** `unix:///…` of a socket on which it alone is offered as well. */
  readonly socket?: string;
  /** Ends its waiting calls; they are answered. */
  stop(): void;
}
