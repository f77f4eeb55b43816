//! From the exports of a component to the traits of this crate.

use std::cell::RefCell;
use std::rc::Rc;

use crate::{
    Answer, Attribute, Configure, Event, Flow, Inspect, Inspector, Message, Observe, Policy, Settings,
};

/// The policy of an instance: made when it is first needed.
#[doc(hidden)]
pub struct Slot<P>(RefCell<Option<Rc<P>>>);

impl<P: Policy> Slot<P> {
    #[must_use]
    pub const fn empty() -> Self {
        Self(RefCell::new(None))
    }

    fn policy(&self) -> Rc<P> {
        Rc::clone(self.0.borrow_mut().get_or_insert_default())
    }

    pub fn decide(&self, message: &Message) -> Answer {
        self.policy().decide(message)
    }

    pub fn configure(&self, settings: Vec<Attribute>) -> Result<(), String>
    where
        P: Configure,
    {
        let mut policy = P::default();
        policy.configure(&Settings::from(settings))?;
        *self.0.borrow_mut() = Some(Rc::new(policy));
        Ok(())
    }

    pub fn observe(&self, events: &[Event])
    where
        P: Observe,
    {
        self.policy().observe(events);
    }

    pub fn inspect(&self, message: &Message) -> Body<P::Inspector>
    where
        P: Inspect,
    {
        Body(RefCell::new(Some(self.policy().inspect(message))))
    }
}

/// One body on its way through an inspector.
#[doc(hidden)]
pub struct Body<I>(RefCell<Option<I>>);

impl<I: Inspector> Body<I> {
    pub fn push(&self, chunk: &[u8]) -> bool {
        self.0.borrow_mut().as_mut().is_some_and(|inspector| inspector.push(chunk) == Flow::More)
    }

    pub fn finish(&self) -> Answer {
        let inspector = self.0.borrow_mut().take();
        inspector.ok_or_else(|| "finish was called twice".to_owned())?.finish()
    }
}

/// Makes the crate a plugin: exports a [`Policy`], and what it implements besides.
///
/// ```
/// use relevo_policy_sdk::{Answer, Configure, Decision, Message, Policy, Settings};
///
/// #[derive(Default)]
/// struct Quiet;
///
/// impl Policy for Quiet {
///     fn decide(&self, _: &Message) -> Answer {
///         Ok(Decision::accept())
///     }
/// }
///
/// impl Configure for Quiet {
///     fn configure(&mut self, settings: &Settings) -> Result<(), String> {
///         settings.only(&[])
///     }
/// }
///
/// relevo_policy_sdk::export!(Quiet: Configure);
/// ```
///
/// What may follow the colon, in any number: `Configure`, `Inspect`, `Observe`. What is not named
/// is not exported, even if it is implemented, and what is named must be implemented.
/// `export!(Quiet)` exports `decide` alone.
///
/// Once for each crate.
#[macro_export]
macro_rules! export {
    ($policy:ty $(: $($optional:ident),+ $(,)?)?) => {
        // Natively these names are no names for a linker, and a plugin is nothing but its tests.
        #[allow(unsafe_code, dead_code, reason = "generated: exports have a name that the linker keeps")]
        const _: () = {
            ::std::thread_local! {
                static SLOT: $crate::__private::Slot<$policy> = const { $crate::__private::Slot::empty() };
            }

            struct Plugin;

            impl $crate::__private::decide::Guest for Plugin {
                fn decide(message: $crate::Message) -> $crate::Answer {
                    SLOT.with(|slot| slot.decide(&message))
                }
            }
            #[cfg(target_arch = "wasm32")]
            $crate::__private::decide::export!(Plugin with_types_in $crate::__private::decide);

            $($($crate::export!(@ $optional $policy);)+)?
        };
    };
    (@ Configure $policy:ty) => {
        impl $crate::__private::configure::Guest for Plugin {
            fn configure(
                settings: ::std::vec::Vec<$crate::Attribute>,
            ) -> ::std::result::Result<(), ::std::string::String> {
                SLOT.with(|slot| slot.configure(settings))
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::__private::configure::export!(Plugin with_types_in $crate::__private::configure);
    };
    (@ Inspect $policy:ty) => {
        struct Body($crate::__private::Body<<$policy as $crate::Inspect>::Inspector>);

        impl $crate::__private::inspect::Guest for Plugin {
            type Inspector = Body;
        }

        impl $crate::__private::inspect::GuestInspector for Body {
            fn new(message: $crate::Message) -> Self {
                Self(SLOT.with(|slot| slot.inspect(&message)))
            }
            fn push(&self, chunk: ::std::vec::Vec<u8>) -> bool {
                self.0.push(&chunk)
            }
            fn finish(&self) -> $crate::Answer {
                self.0.finish()
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::__private::inspect::export!(Plugin with_types_in $crate::__private::inspect);
    };
    (@ Observe $policy:ty) => {
        impl $crate::__private::observe::Guest for Plugin {
            fn observe(events: ::std::vec::Vec<$crate::Event>) {
                SLOT.with(|slot| slot.observe(&events));
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::__private::observe::export!(Plugin with_types_in $crate::__private::observe);
    };
    (@ $other:ident $policy:ty) => {
        ::std::compile_error!(::std::concat!(
            "`", ::std::stringify!($other), "` cannot be exported; there are Configure, Inspect and Observe"
        ));
    };
}
