// The frame around every page: who may see it, the bar, the navigation, the keys.

import { Component, Suspense, useEffect, useState, type ReactNode } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { useStatus } from "./api/live";
import { signOut, useSession } from "./api/session";
import { Bar } from "./frame/bar";
import { Sheet } from "./frame/sheet";
import { SignIn } from "./frame/signin";
import { useKeys } from "./kit/keys";
import { Chip } from "./kit/marks";
import { Empty, Loading, Page, Problem } from "./kit/page";
import { Toasts, toastError } from "./kit/toast";
import { togglePause } from "./pause";
import { ROUTES } from "./routes";

export function App() {
  const session = useSession();
  if (session === undefined) return <Loading what="Signing in" />;
  return (
    <>
      {session ? <Frame /> : <SignIn />}
      <Toasts />
    </>
  );
}

function Frame() {
  const [path, navigate] = useLocation();
  const [menu, setMenu] = useState(false);
  const [sheet, setSheet] = useState(false);
  useEffect(() => setMenu(false), [path]);
  useKeys({
    "/": () => document.querySelector<HTMLInputElement>("#search")?.focus(),
    "?": () => setSheet(true),
    p: togglePause,
    ...Object.fromEntries(ROUTES.filter((route) => route.key).map((route) => [`g ${route.key}`, () => navigate(route.path)])),
  });
  return (
    <div className="frame">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <Bar onMenu={() => setMenu(!menu)} menuOpen={menu} onSheet={() => setSheet(true)} onSignOut={() => void signOut().catch(toastError)} />
      <Navigation open={menu} />
      <main className="main" id="main">
        <Boundary key={path}>
          <Suspense fallback={<Loading />}>
            <Switch>
              {ROUTES.map((route) => (
                <Route key={route.path} path={route.path}>
                  {(params) => <route.page params={params as Record<string, string | undefined>} />}
                </Route>
              ))}
              <Route>
                <Page title="Nothing here">
                  <Empty title="There is no page at this address">
                    <p>
                      <Link href="/">To the Overview</Link>
                    </p>
                  </Empty>
                </Page>
              </Route>
            </Switch>
          </Suspense>
        </Boundary>
      </main>
      {sheet && <Sheet onClose={() => setSheet(false)} />}
    </div>
  );
}

function Navigation({ open }: { open: boolean }) {
  const [path] = useLocation();
  const status = useStatus();
  const groups = [...new Set(ROUTES.flatMap((route) => route.group ?? []))];
  return (
    <nav className="nav" aria-label="Pages" data-open={open}>
      {groups.map((group) => (
        <div key={group}>
          <h2 id={`nav-${group}`}>{group}</h2>
          <ul aria-labelledby={`nav-${group}`}>
            {ROUTES.filter((route) => route.group === group).map((route) => {
              const here = route.path === "/" ? path === "/" : path === route.path || path.startsWith(`${route.path}/`);
              const needs = route.path === "/" ? [] : (status?.value.attention ?? []).filter((item) => item.page.split("?")[0] === route.path);
              const worst = needs[0]?.severity;
              return (
                <li key={route.path}>
                  <Link href={route.path} aria-current={here ? "page" : undefined}>
                    {route.name}
                    {worst && (
                      <Chip tone={worst} title={needs.map((item) => item.title).join("\n")}>
                        {needs.length}
                        <span className="sr">{needs.length === 1 ? " thing needs" : " things need"} attention</span>
                      </Chip>
                    )}
                  </Link>
                </li>
              );
            })}
          </ul>
        </div>
      ))}
    </nav>
  );
}

/** A page that breaks does not take the frame with it. */
class Boundary extends Component<{ children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    if (!this.state.error) return this.props.children;
    return (
      <Page title="This page broke">
        <Problem error={this.state.error} retry={() => location.reload()} />
      </Page>
    );
  }
}
