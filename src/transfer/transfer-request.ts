/** What is asked for, and what is known about an answer while its body arrives. */

export interface TransferRequest {
  /** Relative to the server's base URL, unescaped: `data/ab/cd…`, `.cvmfspublished`. Bytes where it is not UTF-8. */
  readonly path: string | Buffer;
  /** Longest body that is accepted; OBJECT_TOO_BIG beyond. */
  readonly maxBytes: number;
  /** Ask caches on the way for a fresh answer. */
  readonly noCache?: boolean;
  /** Nobody waits for it: demanded requests go before it. */
  readonly background?: boolean;
  readonly signal?: AbortSignal;
  /** Total, from now, queue and back-offs included; else `totalTimeoutMs` of the options. */
  readonly deadlineMs?: number;
  readonly range?: { readonly offset: number; readonly length: number };
  /** Ask the servers of external files. */
  readonly external?: boolean;
  /** Path in the repository that it is for, sent where `infoHeader` is on. */
  readonly info?: string | Buffer;
}

export interface TransferInfo {
  readonly url: string;
  readonly server: string;
  /** Without credentials, or `DIRECT`. */
  readonly proxy: string;
  readonly contentLength?: number;
  /** The sender's clock. */
  readonly date?: Date;
  /** Escaped for logs. */
  readonly contentType?: string;
}
