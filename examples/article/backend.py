"""The article's back end. Its people and their tokens come from Vestibule; what it protects has not changed."""

import uuid
from collections.abc import AsyncGenerator
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyUserDatabase
from sqlalchemy import LargeBinary, TypeDecorator
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DATABASE_URL = "sqlite+aiosqlite:///./vestibule-dev.db"
SECRET = Path("token.secret").read_text().strip()


class Base(DeclarativeBase):
    pass


class Id(TypeDecorator):
    """Vestibule keeps an id as its sixteen bytes."""

    impl, cache_ok = LargeBinary, True

    def process_bind_param(self, value, dialect):
        return value.bytes

    def process_result_value(self, value, dialect):
        return uuid.UUID(bytes=value)


class User(Base):
    """Vestibule's own table: it makes it and writes it, the application reads it."""

    __tablename__ = "vestibule_users"
    id: Mapped[uuid.UUID] = mapped_column(Id, primary_key=True)
    email: Mapped[str]
    is_active: Mapped[bool]
    is_superuser: Mapped[bool]
    is_verified = True  # an address in this column is a verified one


engine = create_async_engine(DATABASE_URL)
async_session_maker = async_sessionmaker(engine, expire_on_commit=False)


async def get_async_session() -> AsyncGenerator[AsyncSession, None]:
    async with async_session_maker() as session:
        yield session


async def get_user_db(session: AsyncSession = Depends(get_async_session)):
    yield SQLAlchemyUserDatabase(session, User)


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    pass


async def get_user_manager(user_db: SQLAlchemyUserDatabase = Depends(get_user_db)):
    yield UserManager(user_db)


def get_jwt_strategy() -> JWTStrategy:
    return JWTStrategy(secret=SECRET, lifetime_seconds=3600)


auth_backend = AuthenticationBackend(
    name="jwt", transport=BearerTransport(tokenUrl="auth/jwt/login"), get_strategy=get_jwt_strategy
)
fastapi_users = FastAPIUsers[User, uuid.UUID](get_user_manager, [auth_backend])
current_active_user = fastapi_users.current_user(active=True)

app = FastAPI()


class UserRead(schemas.BaseUser[uuid.UUID]):
    pass


@app.get("/users/me")
async def me(user: User = Depends(current_active_user)) -> UserRead:
    return UserRead.model_validate(user, from_attributes=True)
