"""The sites that send most visitors to shops in Vietnam and elsewhere, by host."""

from collections.abc import Mapping
from typing import Final

_HOSTS_BY_KIND: Final[Mapping[str, Mapping[str, str]]] = {
    "search": {
        "Baidu": "baidu.com m.baidu.com",
        "Bing": "bing.com cn.bing.com",
        "Brave": "search.brave.com",
        "Cốc Cốc": "coccoc.com",
        "DuckDuckGo": "duckduckgo.com",
        "Ecosia": "ecosia.org",
        "Google": "com.google.android.googlequicksearchbox google.com",
        "Naver": "search.naver.com",
        "Qwant": "qwant.com",
        "Startpage": "startpage.com",
        "Yahoo": "search.yahoo.com search.yahoo.co.jp",
        "Yandex": "yandex.ru ya.ru",
    },
    "social": {
        "Facebook": "facebook.com fb.com fb.me messenger.com",
        "Instagram": "instagram.com",
        "LinkedIn": "linkedin.com lnkd.in",
        "Pinterest": "pinterest.com pin.it",
        "Reddit": "reddit.com redd.it",
        "Telegram": "telegram.org telegram.me t.me web.telegram.org",
        "Threads": "threads.net threads.com",
        "TikTok": "tiktok.com",
        "WhatsApp": "whatsapp.com wa.me",
        "X": "x.com twitter.com t.co",
        "YouTube": "youtube.com youtu.be",
        "Zalo": "zalo.me zaloapp.com chat.zalo.me",
    },
    "email": {
        "Gmail": "mail.google.com com.google.android.gm",
        "Outlook": "outlook.live.com outlook.office.com outlook.office365.com",
        "Proton Mail": "mail.proton.me",
        "Yahoo Mail": "mail.yahoo.com",
        "Zoho Mail": "mail.zoho.com",
    },
    "ai": {
        "ChatGPT": "chatgpt.com chat.openai.com",
        "Claude": "claude.ai",
        "Copilot": "copilot.microsoft.com",
        "DeepSeek": "chat.deepseek.com",
        "Gemini": "gemini.google.com",
        "Perplexity": "perplexity.ai",
    },
    "other": {"Google": "accounts.google.com docs.google.com meet.google.com sites.google.com"},
}

REFERRER_BY_HOST: Final[Mapping[str, tuple[str, str]]] = {
    host: (kind, name) for kind, names in _HOSTS_BY_KIND.items() for name, hosts in names.items() for host in hosts.split()
}
"""From a host without `www.` to (kind, name)."""
