#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Path rules: what may not be relayed goes directly or not at all, what must be relayed is, and
everybody who is asked says which rule it is.
"""
import house

TARGET = "echo.internal:7"


def block(home, is_blocked):
    """The internet loses what laptop and private network send each other directly."""
    rules = "delete table ip cut" if not is_blocked else """
table ip cut {
  chain through { type filter hook forward priority 0
    ip saddr 10.1.0.0/24 ip daddr 10.5.0.0/24 drop
    ip saddr 10.5.0.0/24 ip daddr 10.1.0.0/24 drop
  }
}"""
    home.must("inet", "nft", "-f", "-", input=rules)


def ping(home):
    return home.client("ping", TARGET)


def set_rule(home, *flags):
    home.say(home.admin("network", "update", "office", *flags))


def never_relayed(home):
    set_rule(home, "--paths", "never-relay")
    home.wait_until("the first flow is direct", lambda: " direct round trip" in ping(home).stdout)
    pinged = ping(home)
    home.check("ping names the rule", "(path rule: never-relay)" in pinged.stdout, pinged.stdout)
    shown = home.client("status", "--paths").stdout
    home.check("status --paths names the rule", "never through a relay" in shown, shown)
    told = home.client("netcheck").stdout
    home.check("netcheck names the rule", '"echo": never through a relay' in told, told)
    explained = home.admin("explain", home.subject(), TARGET)
    home.check("zt admin explain names the rule, and whose it is",
               "paths: never through a relay (by its network)" in explained, explained)


def never_relayed_without_a_path(home):
    home.client_role.stop()
    block(home, True)
    home.sign_in(direct=True)
    failed = home.client("ping", "--count", "1", TARGET)
    home.check("without a direct path a flow fails, and the rule is the reason",
               failed.returncode != 0 and
               "no direct path was found within 10 s" in failed.stderr and
               'the path rule of "echo" is never-relay' in failed.stderr, failed.stderr)
    block(home, False)


def always_relayed(home):
    set_rule(home, "--paths", "always-relay")
    home.wait_until("flows are relayed", lambda: " relayed:rly_" in ping(home).stdout)
    failed = home.client("ping", "--until-direct", "--timeout", "3", TARGET)
    home.check("and stay so", failed.returncode != 0 and
               "its path rule is always-relay" in failed.stderr, failed.stderr)


def by_region(home):
    refused = home.run("controller", home.zt, "admin", "network", "update", "office",
                       "--region", "mars")
    home.check("a region that has no relay is refused", refused.returncode != 0 and
               'no relay is in "mars"' in refused.stderr, refused.stderr)
    set_rule(home, "--paths", "any")
    home.wait_until("without a rule the path is direct again",
                    lambda: " direct round trip" in ping(home).stdout)


def story(home):
    home.open()
    home.add_name(house.SERVICE, "echo.internal")
    home.offer("echo", "echo.internal", tcp="7")
    home.serve((house.SERVICE, 7), house.echo)
    home.sign_in(direct=True)
    never_relayed(home)
    never_relayed_without_a_path(home)
    always_relayed(home)
    by_region(home)


house.tell(story)
