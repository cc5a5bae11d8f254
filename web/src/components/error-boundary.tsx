import { Component, type ReactNode } from "react";
import { Broken } from "../pages/broken.tsx";

/** Shows a page instead of nothing when one cannot be shown. Only a class can be one. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    return this.state.error ? <Broken error={this.state.error} /> : this.props.children;
  }
}
