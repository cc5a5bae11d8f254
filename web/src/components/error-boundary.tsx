import { Component, type ReactNode } from "react";
import { ErrorPage } from "../pages/error-page.tsx";

/** Shows an error page if rendering fails. React supports error boundaries only as classes. */
export class ErrorBoundary extends Component<{ children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    return this.state.error ? <ErrorPage error={this.state.error} /> : this.props.children;
  }
}
