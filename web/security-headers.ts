/** The origins, or patterns of origins, that the app connects to, besides its own. */
export interface Origins {
  /** The API and Cognito. */
  api: string[];
  /** The bucket of the attachments. */
  files: string;
  /** The origins of the scripts, iframes and APIs of other companies. */
  others: string[];
}

/**
 * Returns the security headers of every response of the app's server: CloudFront, or the local preview server.
 */
export function securityHeaders({ api, files, others }: Origins) {
  const policy = {
    "default-src": ["'none'"],
    "script-src": ["'self'", ...others],
    "style-src": ["'self'"],
    "img-src": ["'self'", "blob:", files],
    "font-src": ["'self'"],
    "connect-src": ["'self'", ...api, files, ...others],
    "frame-src": others,
    "manifest-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
  };
  return {
    "Content-Security-Policy": Object.entries(policy)
      .map(([directive, sources]) => [directive, ...sources].join(" "))
      .join("; "),
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
  };
}
