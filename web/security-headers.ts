/** What the app talks to besides the server that it comes from. Each is an origin, or a pattern of origins. */
export interface Origins {
  /** The API and Cognito. */
  api: string[];
  /** Where files are read and written. */
  files: string;
  /** Where Stripe's script comes from, with the frames that it makes and the calls that these make. */
  stripe: string[];
}

/**
 * What every answer of the app's server carries. CloudFront sends them in the cloud, the preview server on a laptop.
 *
 * Stripe's part is https://docs.stripe.com/security/guide#content-security-policy.
 */
export function securityHeaders({ api, files, stripe }: Origins) {
  const policy = {
    "default-src": ["'none'"],
    "script-src": ["'self'", ...stripe],
    "style-src": ["'self'"],
    "img-src": ["'self'", "blob:", files],
    "font-src": ["'self'"],
    "connect-src": ["'self'", ...api, files, ...stripe],
    "frame-src": stripe,
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
